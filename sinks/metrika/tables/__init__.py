"""All SQL of the Metrika sink, one module per table."""
