package main

import (
	"context"
	"os"
	"runtime/debug"
	"time"
)

// A daemon under load makes ten megabytes of garbage for every thousand records.
// Collecting it at twice what lives, as Go does, takes a twentieth of the CPU
// time; at four times, half of that, for memory that a daemon at rest must not
// hold. So it is at four times while there is load, and at twice otherwise.
const (
	atRest    = 100 // percent: Go's default
	underLoad = 300
	// busyRecords is how many records a second are load.
	busyRecords = 1000
	// loadMemory is what Go's memory may come to before the collector works
	// harder again: pages that Pebble caches are not in it.
	loadMemory = 256 << 20
)

// tendMemory sets the garbage collector to the load until ctx ends, unless the
// environment says how it should be. appended is a total of records.
func tendMemory(ctx context.Context, appended func() uint64) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(loadMemory)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	p := pace{last: appended()}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if percent, changed := p.second(appended()); changed {
			debug.SetGCPercent(percent)
			if percent == atRest {
				debug.FreeOSMemory() // what the load left
			}
		}
	}
}

// A pace is what the load of the last seconds was.
type pace struct {
	last  uint64 // records appended until then
	busy  bool
	quiet int // seconds without load
}

// restAfter is how many seconds without load are rest.
const restAfter = 5

// second takes note of another second, and returns how much garbage there may be
// for what lives, and whether that is new.
func (p *pace) second(appended uint64) (percent int, changed bool) {
	load := appended-p.last >= busyRecords
	p.last = appended
	p.quiet++
	if load {
		p.quiet = 0
	}
	was := p.busy
	p.busy = load || was && p.quiet < restAfter
	if p.busy {
		percent = underLoad
	} else {
		percent = atRest
	}
	return percent, p.busy != was
}
