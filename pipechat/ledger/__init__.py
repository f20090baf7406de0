"""What requests cost: a line for each that was sent, and the budgets that hold them."""
