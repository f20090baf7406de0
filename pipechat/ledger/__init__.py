"""What requests took and what they cost: a line for each that was sent, prices, budgets."""
