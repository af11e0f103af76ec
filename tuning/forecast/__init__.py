"""What a sweep would take, before anything of it is started: time, room, and what cannot fit."""
