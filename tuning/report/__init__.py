"""What a sweep shows: its page, its pictures, its importances and its advice."""
