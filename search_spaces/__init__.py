"""Ready search spaces, one builder a file; `nas_plugin.space.spaces` finds them by name."""
