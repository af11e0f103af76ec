"""Networks of families that have several, apart from the rules that train them."""
