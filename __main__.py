"""The `paceline` command."""


def main():
    """Run."""
