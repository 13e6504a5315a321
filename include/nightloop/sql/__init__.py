"""What a text of SQL says by itself: one SELECT? what it reads and returns. Knows no folder and runs nothing."""
