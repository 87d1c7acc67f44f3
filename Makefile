# Each target makes what it needs first (the user's cache keeps it) and takes ARGS:
#   make test ARGS="-k reply_to"
PYTHON ?= python3
ARGS ?=

TARGETS = demo serve test test-truth test-apps test-chaos test-native test-mailserver \
	test-browser lint bench bench-queue screenshots clean

.PHONY: $(TARGETS) help

help:
	@echo "make $(TARGETS)" | tr ' ' '\n' | sed '2,$$s/^/  /'

$(TARGETS):
	@$(PYTHON) dev/bootstrap.py $@ $(ARGS)
