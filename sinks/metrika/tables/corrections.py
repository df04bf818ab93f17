"""SQL over rows of ``webhook_conversions`` that correct the amount of another: when they may be uploaded, and as what.

Metrika overwrites the amount of a row that is sent again with the same identifier, goal and DateTime (documentation,
FAQ). So a correction follows its conversion: it waits until Metrika has processed that one, and every correction that
was received before it, and takes the first one's second.
"""

from __future__ import annotations

from typing import Final

# Whether the row ``stored`` is a correction whose turn has not come. One whose conversion failed, or is gone, waits
# until its deadline: sent alone it would be a conversion of its own.
CORRECTION_WAITS: Final = """
    stored.corrects IS NOT NULL AND (
        NOT EXISTS (
            SELECT FROM webhook_conversions AS first
            WHERE first.id = stored.corrects AND first.stage IN ('processed', 'not_linked')
              AND first.upload_second IS NOT NULL)
        OR EXISTS (
            SELECT FROM webhook_conversions AS earlier
            WHERE earlier.corrects = stored.corrects AND earlier.stage NOT IN ('processed', 'not_linked', 'failed')
              AND (earlier.received_at, earlier.id) < (stored.received_at, stored.id)))
"""

# The second that the row ``stored`` has already: its own, or that of the conversion which it corrects.
SECOND: Final = """
    CASE WHEN stored.corrects IS NULL THEN stored.upload_second ELSE (
        SELECT first.upload_second FROM webhook_conversions AS first WHERE first.id = stored.corrects) END
"""
