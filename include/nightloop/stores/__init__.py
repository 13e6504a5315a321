"""All input and output, a package per thing stored. What is stored is decided above; rows are shaped, not judged."""
