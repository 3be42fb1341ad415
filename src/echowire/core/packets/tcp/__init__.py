"""TCP beneath its table of fields: header, options, segments of a stream, and what their analysis finds."""
