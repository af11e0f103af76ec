"""Learning by acting: value functions, DQN and REINFORCE on Gymnasium. Gymnasium only here."""
