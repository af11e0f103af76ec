"""How an agent acts: environments side by side, how they are made, whole episodes, videos."""
