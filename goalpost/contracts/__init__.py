"""What goalpost promises to other teams, written down from the code itself, and the check that it stays kept.

For maintainers: ``python -m goalpost.contracts``. It needs the packages of the ``dev`` extra.
"""
