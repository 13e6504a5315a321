"""What a run reads and decides between stores and domains; no storage format and no formula stands here."""
