"""The cell spaces as graphs: what their models return by ``description()``, one file a space."""
