"""Which seeds are for what: a pair is made from its seed alone, so that sets are kept apart by theirs."""

# Seeds below this are for training, those from it on are not.
HELD_OUT = 1_000_000_000
# Seeds from here on are for held-out sets alone: neither training nor tuning sees them.
HELD_OUT_SETS = HELD_OUT + 1_000_000
# Hard scenes to tune on, and the held-out ones.
HARD_TUNING = 2_000_000_000
HARD_HELD_OUT = 3_000_000_000
