"""Workers of the join come and go at random while events flow; then every event is counted."""
