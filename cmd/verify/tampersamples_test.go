package main

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"ledgerd/audit/audittest"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/inspect"
	"ledgerd/internal/report"
	"ledgerd/ledger/tlog"
)

// tamperSamples are the small files that TestTampered changes: one of each form that
// verify takes. Every tree head in them has a signature line by somebody unknown.
func tamperSamples(t *testing.T) []*tamperSample {
	w := smallWorld(t, audittest.Origin)
	k := newCosigners(t, w)
	other := w.Open(nil)
	other.Do("refund", `{"amount":31}`)
	other.Close(evidence.Completed)
	run := w.OpenWith(`{"contract":"v1","task":"x","expects":[{"action":"refund"}]}`)
	run.Do("refund", `{}`)
	run.ClaimContract()
	run.Close(evidence.Completed)
	size := len(w.Placed)

	// The earlier of two tree heads, which not every record of the run lies under.
	earlier, later := k.head(w.Head(size-3), k.stranger), k.head(w.Head(size), k.stranger)
	about := func(r *audittest.Run) []byte {
		return w.Bundle(audittest.Bundling{Header: bundle.RunHeader(w.Origin, r.ID), Indexes: w.RunIndexes(r.ID), Heads: [][]byte{earlier, later}})
	}
	before, cosigned := k.head(w.Head(size-1), k.a, k.stranger), k.head(w.Head(size), k.a, k.b, k.stranger)
	receipt := w.Receipt(int(run.Last.Index))
	receipt.Head = cosigned
	shrunk := *w
	shrunk.Placed = w.Placed[:size-1]
	otherReceipt := shrunk.Receipt(int(other.Last.Index))
	otherReceipt.Head = before

	// Another history of the log, that the proof is about.
	fork := smallWorld(t, audittest.Origin)
	fork.Clock++
	fork.Open(nil)
	forked := k.head(fork.Head(len(fork.Placed)), k.stranger)
	nodes, err := inspect.NodesOf(t.Context(), tileMap(w.Tiles()), uint64(len(fork.Placed)), uint64(size), 0)
	if err != nil {
		t.Fatal(err)
	}
	contradiction, err := (&inspect.Proof{Heads: [2]string{string(forked), string(later)}, Nodes: inspect.EncodeNodes(nodes)}).Marshal()
	if err != nil {
		t.Fatal(err)
	}

	few := smallWorld(t, audittest.Origin)
	few.Open(nil)
	fewHead := k.head(few.Head(4), k.stranger)
	ranged := few.Bundle(audittest.Bundling{Header: bundle.RangeHeader(few.Origin, 0, 4), Indexes: []int{0, 1, 2, 3}, Heads: [][]byte{fewHead}})
	offer, handed, offerHead, handedHead, both := smallHandoff(t, k)

	return []*tamperSample{
		{name: "receipt", file: receipt.Marshal(), trust: k.witnessed(), others: [][]byte{otherReceipt.Marshal()}, meaningless: append(k.inQuorum(cosigned, before), meaningless{
			"beheaded", string(receipt.Marshal()), "a receipt without its proof is a tree head, and says no more than one", headAlone,
		})},
		{name: "head", file: cosigned, trust: k.witnessed(), others: [][]byte{before}, meaningless: k.inQuorum(cosigned, before)},
		{name: "run", file: about(run), trust: w.Trust(), others: [][]byte{about(other)}, meaningless: inStrings(append(inSignatures(nil, earlier, later), meaningless{
			"byte dropped swapped", signatures(earlier), "what nobody known signed is no tree head of the log, and another one holds every record", headLess,
		}))},
		{name: "range", file: ranged, trust: few.Trust(), header: true, meaningless: append(inStrings(inSignatures(nil, fewHead)[1:]), meaningless{
			"byte", `"from":0,"to":4`, "the header is nobody's word, and what the file says of fewer records is true too", aboutLess,
		})},
		{name: "offer", file: offer, trust: both, header: true, meaningless: append(inStrings(inSignatures(nil, offerHead)[1:]), meaningless{
			"kind", `"offer"`, "the header is nobody's word, and an offer is a record too", aboutLess,
		})},
		{name: "handed", file: handed, trust: both, meaningless: inStrings(inSignatures(nil, handedHead))},
		{name: "proof", file: contradiction, trust: w.Trust(), meaningless: append(inStrings(inSignatures(notesLess, forked, later)), []meaningless{
			{"swapped", string(contradiction), "a signature line by an unknown key is passed over, whatever tree head it stands under", notesLess},
			{"space", string(contradiction), "white space is allowed in a proof", nil},
			{"cut", "\n", "white space is allowed in a proof, and none is needed", nil},
			{"item-swapped", strings.ReplaceAll(`"`+string(forked)+`","`+string(later)+`"`, "\n", `\n`), "the two tree heads have no order", nil},
		}...)},
	}
}

// smallHandoff is a bundle about an offer, and that of the run which continues it at
// another ledger.
func smallHandoff(t *testing.T, k *cosigners) (offer, handed, offerHead, handedHead []byte, trust *bundle.Trust) {
	g, r := smallWorld(t, "giver.example/log"), smallWorld(t, "receiver.example/log")
	given := g.Open(nil)
	offered := given.Line(&evidence.HandoffOffered{
		To:   evidence.Recipient{Origin: r.Origin, Actor: audittest.Agent, Key: r.Key(audittest.Runtime).Public().Thumbprint()},
		Task: "refund", Scope: []evidence.ScopeEntry{{Action: "refund", Resource: "order/*"}}, Expires: g.Clock + 3_600_000, HeadMaxAge: 60,
	})
	size := len(g.Placed)
	offerHead = k.head(g.Head(size), k.stranger)
	offer = g.Bundle(audittest.Bundling{Header: bundle.OfferHeader(g.Origin, offered.ID), Indexes: g.RunIndexes(given.ID), Heads: [][]byte{offerHead}})
	run := r.Open(func(rec *evidence.Record, b *evidence.RunOpened) {
		b.Acceptance = r.Append(&evidence.Record{Actor: audittest.Agent, Body: &evidence.HandoffAccepted{
			Offer: offered.ID, Origin: g.Origin, Opens: rec.Run, Bundle: r.CommitAs(bundle.Media, string(offer)),
			Head: evidence.HeadRef{Size: int64(size), Root: evidence.Digest(g.Root(size))},
		}}, audittest.Runtime).ID
	})
	trust = g.Trust()
	trust.Ledgers = append(trust.Ledgers, r.Trust().Ledgers...)
	handedHead = k.head(r.Head(len(r.Placed)), k.stranger)
	handed = r.Bundle(audittest.Bundling{Header: bundle.RunHeader(r.Origin, run.ID), Indexes: r.RunIndexes(run.ID), Heads: [][]byte{handedHead}})
	return offer, handed, offerHead, handedHead, trust
}

// signatures are the signature lines of a tree head, with the empty line before them.
func signatures(head []byte) string { return string(head[bytes.Index(head, []byte("\n\n"))+1:]) }

// inStrings is the list for tree heads that lie in JSON strings.
func inStrings(list []meaningless) []meaningless {
	for i := range list {
		list[i].where = strings.ReplaceAll(list[i].where, "\n", `\n`)
	}
	return list
}

// smallWorld is audittest.Named with fewer actors, so that its bundles are short.
func smallWorld(t *testing.T, origin string) *audittest.World {
	w := audittest.Empty(t, origin)
	w.Create()
	w.Register(audittest.Runtime, evidence.RoleRuntime)
	w.RegisterHosted(audittest.Agent, audittest.Runtime)
	return w
}

// cosigners sign tree heads of a World besides its log.
type cosigners struct {
	*testing.T
	w              *audittest.World
	a, b, stranger note.Signer
	policy         string // by which one of a and b is enough
}

func newCosigners(t *testing.T, w *audittest.World) *cosigners {
	a, keyA := witness(t, "w1.example")
	b, keyB := witness(t, "w2.example")
	stranger, err := tlog.NewSigner("stranger.example/log", audittest.Empty(t, "stranger.example/log").LogKey)
	if err != nil {
		t.Fatal(err)
	}
	return &cosigners{t, w, a, b, stranger, "log " + w.VKey() + "\nwitness a " + keyA + "\nwitness b " + keyB + "\ngroup g any a b\nquorum g\n"}
}

// witnessed trusts the log where a witness cosigned, and its runtime's key.
func (k *cosigners) witnessed() *bundle.Trust {
	p, err := bundle.ParsePolicy(k.policy)
	if err != nil {
		k.Fatal(err)
	}
	trust := k.w.Trust()
	trust.Ledgers[0].Policy = p
	trust.Ledgers[0].Actors = []bundle.PinnedActor{{Name: audittest.Runtime, Role: evidence.RoleRuntime, Key: k.w.Key(audittest.Runtime).Public()}}
	return trust
}

// head adds signature lines to a tree head.
func (k *cosigners) head(head []byte, signers ...note.Signer) []byte {
	text := head[:bytes.Index(head, []byte("\n\n"))+1]
	signed, err := note.Sign(&note.Note{Text: string(text)}, signers...)
	if err != nil {
		k.Fatal(err)
	}
	return append(bytes.Clone(head), signed[len(text)+1:]...)
}

// inSignatures lists what is without meaning in the signature lines of tree heads, the
// last of which is a stranger's.
func inSignatures(less func(*report.Report), heads ...[]byte) []meaningless {
	var list []meaningless
	for _, head := range heads {
		lines := signatures(head)[1:]
		stranger := lines[strings.LastIndex(lines, "— "):]
		list = append(list,
			meaningless{"byte", strings.TrimPrefix(stranger, "— "), "a signature line by an unknown key is passed over", less},
			meaningless{"dropped", stranger, "a signature line by an unknown key is passed over", less},
			meaningless{"doubled swapped", lines, "signature lines have no order, and one that stands twice counts once", less})
	}
	return list
}

// inQuorum is inSignatures of a tree head that a and b cosigned, where one is enough,
// and that is spliced with another one.
func (k *cosigners) inQuorum(head, other []byte) []meaningless {
	lines := strings.SplitAfter(signatures(head)[1:], "\n")
	const enough = "one witness is enough for the quorum, and a line of another tree head is as good as none"
	return append(inSignatures(nil, head),
		meaningless{"byte dropped", lines[1], enough, witnessesLess},
		meaningless{"byte dropped", lines[2], enough, witnessesLess},
		meaningless{"cut spliced", lines[2] + lines[3], enough, witnessesLess},
		meaningless{"spliced", signatures(other)[1:], enough, witnessesLess})
}
