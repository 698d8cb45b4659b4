# Thin: everything real is Meson.  `make help` lists the targets.
SHELL := /bin/bash
JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
BUILD := build
ASAN := build-asan
TSAN := build-tsan

.PHONY: help deps build programs install demo check check-asan check-tsan check-crash check-restarts check-sim check-rack check-stock
.PHONY: fuzz bench bench-dialer fmt fmt-check lint clean

help:
	@sed -n 's/^## //p' Makefile

## make build        programs under build/ (inoxd, inox-agent, inox, inox-bmc, inox-fleet, inox-ramdisk)
build: $(BUILD)/build.ninja
	@ninja -C $(BUILD) -j $(JOBS)
	@dist/link-programs $(BUILD)

# What the demo runs, without tests and fuzz targets; demo/run knows what that is.
programs: $(BUILD)/build.ninja
	@ninja -C $(BUILD) -j $(JOBS) $$(demo/run --programs)
	@dist/link-programs $(BUILD)

$(BUILD)/build.ninja:
	meson setup $(BUILD)

## make install      sudo: programs, units, users' entries, documentation below PREFIX (/usr/local); behind DESTDIR, if that is set
install: $(BUILD)/build.ninja
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@ninja -C $(BUILD) -j $(JOBS)
	@meson install -C $(BUILD) --no-rebuild --quiet
	@echo "installed below $(DESTDIR)$(PREFIX); next: systemd-sysusers, /etc/inox/inox.conf, systemctl enable --now inoxd"

## make deps         install the Debian packages that building, testing and the demo need (root)
deps:
	@dist/install-packages build demo test

## make demo         sudo: install, build, and deploy a virtual machine in passive mode
demo:
	@dist/install-packages build demo
	@$(MAKE) --no-print-directory programs
	@demo/run $(DEMO)

## make check        sudo: install, build, and run the whole test suite
check:
	@dist/install-packages build demo test
	@$(MAKE) --no-print-directory build
	@tests/run

## make check-asan   unit and integration tests under AddressSanitizer and UBSan only
check-asan:
	@tests/run asan

## make check-tsan   programs with threads under ThreadSanitizer
check-tsan:
	@tests/run tsan

## make check-crash  every process is killed at every phase boundary of a deployment
check-crash:
	@tests/run crash

## make check-restarts  machines, agents and conductors restart in every phase, in every mode
check-restarts:
	@tests/run restarts

## make check-sim    a million worlds in virtual time: failures, crashes, races; SIM_SEQUENCES, SIM_SEED
check-sim: build
	@$(BUILD)/tests/sim/sim --sequences $${SIM_SEQUENCES:-1000000} --seed $${SIM_SEED:-1} --jobs $(JOBS)

## make check-rack   sudo: BIOS, UEFI x network boot, virtual media x passive, active x deploy, rescue, clean
check-rack:
	@dist/install-packages build demo test
	@tests/run rack-long

## make check-stock  sudo: install Debian's Ironic, and let it deploy and clean through inox-agent
check-stock:
	@dist/install-packages build test stock
	@tests/run stock

## make fuzz         a minute of search per fuzz target (clang); FUZZ_SECONDS changes that
fuzz:
	@tests/fuzz/search $${FUZZ_SECONDS:-60}

## make bench        the measurements; each line has a figure and what it is compared with
bench: build
	@tests/bench/run

## make bench-dialer the dialer against a fleet of agents, up to a million: 35 minutes, on a machine that does nothing else
bench-dialer: build
	@INOX_BUILD=$(CURDIR)/$(BUILD) tests/bench/bench_fleet
	@INOX_BUILD=$(CURDIR)/$(BUILD) tests/bench/million

## make fmt          format the sources; make fmt-check only says what differs
fmt:
	@git ls-files '*.c' '*.h' | xargs clang-format-14 -i
fmt-check:
	@git ls-files '*.c' '*.h' | xargs clang-format-14 --dry-run -Werror

## make lint         shellcheck, cppcheck and clang-tidy
lint:
	@dist/install-packages build lint
	@dist/lint

## make clean        remove the build folders
clean:
	rm -rf $(BUILD) $(ASAN) $(TSAN) build-fuzz build-lint
