"""What goalpost achieves, measured against references that run beside it in the same minute."""
