"""Side by side against peers or against an earlier state, in one run each."""
