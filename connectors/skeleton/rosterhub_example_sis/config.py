"""What a district enters. The secret of the client is entered apart from it."""

from __future__ import annotations

from pydantic import Field
from yarl import URL

from connectors.config import Address, ClientId, QuietHours


class ExampleSisConfig(QuietHours):
    """What a district may set for its Example SIS source."""

    url: Address = Field(description="The server's address.")
    client_id: ClientId = Field(description="The client that was made for RosterHub.")
    page_rows: int = Field(default=500, ge=2, le=5_000, description="Rows of a page.")

    @property
    def token_url(self) -> str:
        """Where tokens are fetched."""
        return f"{self.url.rstrip('/')}/token"

    def page(self, name: str, number: int) -> URL:
        """The address of one page of a collection. Pages count from 1."""
        url = URL(f"{self.url.rstrip('/')}/api/{name}")
        return url.with_query(page=str(number), size=str(self.page_rows))
