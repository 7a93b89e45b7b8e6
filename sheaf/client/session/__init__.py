"""A program's session: its calls on their way to the workers, and their results on the way back."""
