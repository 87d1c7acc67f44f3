# SPDX-License-Identifier: LGPL-3.0-only
"""The benchmarks: ``make bench`` (:mod:`.compare`) and ``make bench-queue`` (:mod:`.lanes`)."""

#: of the main company, and of every account
DOMAIN, PASSWORD = "bench.example", "secret"
