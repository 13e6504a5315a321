"""All input and output, a package or module per thing stored. Rows are kept and found here, never interpreted."""
