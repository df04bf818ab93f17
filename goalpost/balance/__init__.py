"""Whether everything that was received is somewhere: three equations over topics and tables, and who breaks them."""
