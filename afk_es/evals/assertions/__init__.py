"""What a run is judged by: answers, claims about all of it, trajectories, limits and judges."""
