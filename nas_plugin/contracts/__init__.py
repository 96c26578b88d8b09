"""What mutators, executors and strategies promise, as checks; public through testing."""
