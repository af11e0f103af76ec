"""What an agent's learning is made of: targets, gradients of values and policies, bare steps."""
