"""What real Metrika has not: scripting failures, moving the clock, teaching goals and visits, reading what came."""
