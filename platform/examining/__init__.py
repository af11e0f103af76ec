"""Looking into models without a run: shapes and costs, gradients, what they say of given things."""
