"""Each fault that Metrika, the network or a kill can bring, against a thousand conversions, counted row by row."""
