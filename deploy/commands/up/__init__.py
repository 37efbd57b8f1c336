"""`penstock up`: its options, its log, and what it says."""
