package bench

import (
	"bytes"
	"testing"
	"time"

	"ledgerd/evidence"
)

func testSigner(t testing.TB) *Signer {
	t.Helper()
	key, err := evidence.NewPrivateKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return &Signer{Origin: "bench.example/ledger", Runtime: "runtime-01", Agent: "bench-agent", Registry: 2, Key: key}
}

// TestRecordsAreOfTheSizeThatRatesAreQuotedFor holds the workload to what the
// benchmark report says it is.
func TestRecordsAreOfTheSizeThatRatesAreQuotedFor(t *testing.T) {
	s := testSigner(t)
	l, err := NewLine(s)
	if err != nil {
		t.Fatal(err)
	}
	kinds := make(map[evidence.Kind]int)
	var prev evidence.ID
	bytes, n := 0, 1000
	for range n {
		e, err := l.Next(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		u, err := evidence.Parse(e)
		if err != nil {
			t.Fatal(err)
		}
		r, err := u.Verify(s.Key.Public())
		if err != nil {
			t.Fatal(err)
		}
		if r.Prev != prev {
			t.Fatalf("a %s names %s as the record before it, want %s", r.Kind, r.Prev, prev)
		}
		prev = u.ID()
		kinds[r.Kind]++
		bytes += len(e)
	}
	if mean := bytes / n; mean < 925 || mean > 945 {
		t.Errorf("want records of 935 bytes within 10, found %d", mean)
	}
	if kinds[evidence.KindExecution] < n*97/100 {
		t.Errorf("want executions, found %v", kinds)
	}
}
