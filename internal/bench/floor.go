package bench

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"ledgerd/evidence"
)

// Floor is what a ledger cannot get below: what one record costs to parse and
// verify, and what the disk takes to sync.
type Floor struct {
	OneCPU  float64       // records a second, parsed and verified, on one CPU
	AllCPUs float64       // on all of them
	Fsync   time.Duration // median of 64 appends of 4 KiB, each synced
}

// MeasureFloor measures with the signer's records, and in a directory on the
// disk that counts.
func MeasureFloor(s *Signer, dir string) (Floor, error) {
	line, err := NewLine(s)
	if err != nil {
		return Floor{}, err
	}
	const n = 4000
	work, err := sign([]*Line{line}, 1, n)
	if err != nil {
		return Floor{}, err
	}
	entries := work[0][0]
	check := func(i int) error {
		u, err := evidence.Parse(entries[i%n])
		if err == nil {
			_, err = u.Verify(s.Key.Public())
		}
		return err
	}
	var f Floor
	begun := time.Now()
	for i := range n {
		if err := check(i); err != nil {
			return f, err
		}
	}
	f.OneCPU = n / time.Since(begun).Seconds()
	var done atomic.Int64
	begun = time.Now()
	if err := parallel(4*n, func(i int) error { done.Add(1); return check(i) }); err != nil {
		return f, err
	}
	f.AllCPUs = float64(done.Load()) / time.Since(begun).Seconds()
	f.Fsync, err = measureFsync(dir)
	return f, err
}

func measureFsync(dir string) (time.Duration, error) {
	file, err := os.CreateTemp(dir, "fsync-*")
	if err != nil {
		return 0, fmt.Errorf("measuring fsync: %w", err)
	}
	defer os.Remove(file.Name())
	defer file.Close()
	block := make([]byte, 4096)
	took := make([]time.Duration, 64)
	for i := range took {
		begun := time.Now()
		if _, err := file.Write(block); err != nil {
			return 0, fmt.Errorf("measuring fsync: %w", err)
		}
		if err := file.Sync(); err != nil {
			return 0, fmt.Errorf("measuring fsync: %w", err)
		}
		took[i] = time.Since(begun)
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// Machine describes where a benchmark ran, in one line.
func Machine() string {
	cpu := "unknown CPU"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d CPUs used, %s/%s, %s", cpu, runtime.GOMAXPROCS(0), runtime.GOOS, runtime.GOARCH, runtime.Version())
}
