package tlog

import (
	"fmt"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// An Inclusion proves that a leaf stands at Index in the tree of Size entries
// (RFC 6962, section 2.1.1).
type Inclusion struct {
	Index, Size uint64
	Hashes      []Hash // from the leaf up
}

// Check reports whether the proof connects leaf with root. A proof that is
// longer than it has to be is wrong.
func (p *Inclusion) Check(leaf, root Hash) error {
	if p.Index >= p.Size {
		return fmt.Errorf("inclusion: index %d is not in a tree of size %d", p.Index, p.Size)
	}
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, p.Index, p.Size, leaf[:], slicesOf(p.Hashes), root[:]); err != nil {
		return fmt.Errorf("inclusion of index %d in the tree of size %d: %w", p.Index, p.Size, err)
	}
	return nil
}

// A Consistency proves that the tree of size To begins with the tree of size
// From (RFC 6962, section 2.1.2).
type Consistency struct {
	From, To uint64
	Hashes   []Hash
}

// Check reports whether the proof connects the two roots.
func (p *Consistency) Check(from, to Hash) error {
	if p.From > p.To {
		return fmt.Errorf("consistency: size %d is beyond size %d", p.From, p.To)
	}
	// Every tree extends the empty one, whose root is no part of any proof.
	if p.From == 0 && from != EmptyRoot {
		return fmt.Errorf("consistency: size 0 has the root %v, expected %v", from, EmptyRoot)
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, p.From, p.To, slicesOf(p.Hashes), from[:], to[:]); err != nil {
		return fmt.Errorf("consistency of size %d with size %d: %w", p.From, p.To, err)
	}
	return nil
}

func slicesOf(hs []Hash) [][]byte {
	out := make([][]byte, len(hs))
	for i := range hs {
		out[i] = hs[i][:]
	}
	return out
}
