"""What neither report says by itself, made from both: pure, like all that it is made of."""
