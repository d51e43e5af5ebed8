"""Several processes that compute a network together, each its share of the batch."""

from tinydiff.team.team import Team, team_of

__all__ = ["Team", "team_of"]
