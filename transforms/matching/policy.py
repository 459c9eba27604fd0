"""Where the lines between merge, review and separate are drawn."""

from __future__ import annotations

from dataclasses import dataclass

#: Mail providers that anybody may have an address at.
PUBLIC = (
    "gmail.com", "googlemail.com", "yahoo.com", "ymail.com", "outlook.com", "hotmail.com", "live.com", "msn.com",
    "icloud.com", "me.com", "aol.com", "gmx.com", "gmx.net", "mail.com", "proton.me", "protonmail.com", "comcast.net",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Policy:
    """Where the lines are drawn. The defaults are for rosters.

    ``merge``, ``review``: the least posterior of either. ``rarity``: how many other people with the same names and
    birth date, who agree in all else as well, are expected at most where two records become one by these;
    ``contested``: the same where a third record has them, too, that is not joined to both: there are two people sooner.
    ``households``: whether relatives live together in the data, and what follows from it (first names as a gate,
    twins, co-existence, birth dates); without it the score alone decides. ``email_domains``: domains in which an
    address belongs to one person; by default all but those of mail providers, and then only within one role.
    ``doubt``: how many bits a pair counts at most against its cluster.
    """

    merge: float = 0.9999
    review: float = 0.995
    rarity: float = 0.002
    contested: float = 0.0004
    households: bool = True
    email_domains: frozenset[str] | None = None
    doubt: float = 20.0


ROSTER = Policy()
#: Registers of people without a known role, source or household.
REGISTER = Policy(merge=0.5, review=0.1, households=False, doubt=2.0)
