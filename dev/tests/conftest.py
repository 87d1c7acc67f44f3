# SPDX-License-Identifier: LGPL-3.0-only
"""What the tests of the decision share."""

from hypothesis import settings

# how long an example takes is the machine's business, which may be busy: times are in `make bench`
settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")
