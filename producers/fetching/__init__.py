"""Reads what a CRM's webhook only points at: Bitrix24's outgoing webhook says which deal has changed, and no more."""
