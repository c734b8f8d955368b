// Package party opens one organisation's ledger in the process of its agent: the data
// directory that `ledgerd init` made, for a program that needs no daemon.
package party

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/ledger"
	"ledgerd/ledger/pebblestore"
	"ledgerd/ledger/tlog"
	"ledgerd/runtime"
)

// Side is an organisation's ledger at work, and its agent's side of handoffs.
type Side struct {
	Ledger *ledger.Ledger
	Party  *handoff.Party

	meta  meta
	store *pebblestore.Store
}

// meta is ledger.json.
type meta struct {
	Origin  string      `json:"origin"`
	Log     string      `json:"log"` // public half of the log's key
	Entry0  evidence.ID `json:"entry0"`
	Runtime string      `json:"runtime"` // the actor that hosts the agents
}

// Open opens the ledger of a data directory. trust names the trust files of those
// whom the agent deals with; its own ledger it trusts without one.
func Open(ctx context.Context, dir, agent string, trust []string) (*Side, error) {
	s := new(Side)
	b, err := os.ReadFile(filepath.Join(dir, "ledger.json"))
	if err != nil {
		return nil, fmt.Errorf("%w: make a ledger with ledgerd init", err)
	}
	if err := json.Unmarshal(b, &s.meta); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	logKey, err := readKey(dir, "log")
	if err != nil {
		return nil, err
	}
	key, err := readKey(dir, s.meta.Runtime)
	if err != nil {
		return nil, err
	}
	signer, err := tlog.NewSigner(s.meta.Origin, ed25519.NewKeyFromSeed(logKey.Seed()))
	if err != nil {
		return nil, err
	}
	vault, err := ledger.OpenVault(filepath.Join(dir, ledger.PayloadsDir), 0)
	if err != nil {
		return nil, err
	}
	if s.store, err = pebblestore.Open(filepath.Join(dir, ledger.StoreDir), pebblestore.Options{MustExist: true}); err != nil {
		return nil, err
	}
	s.Ledger, err = ledger.Open(ctx, s.store, vault, ledger.Config{
		Signer: signer, VerifierKey: s.meta.Log, Entry0: s.meta.Entry0, Runtime: key, RuntimeActor: s.meta.Runtime,
		Keeper: pebblestore.NewHeadFile(nil, ledger.HeadPath(dir)),
	})
	if err != nil {
		return nil, errors.Join(err, s.store.Close())
	}
	own, err := s.Ledger.Trust()
	if err == nil {
		own, err = Trust(own, trust)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.Party = &handoff.Party{Ledger: runtime.Embedded{Ledger: s.Ledger}, Origin: s.meta.Origin, Agent: agent, Key: key, Trust: own}
	return s, nil
}

func readKey(dir, name string) (*evidence.PrivateKey, error) {
	b, err := os.ReadFile(filepath.Join(dir, ledger.KeysDir, name+".jwk"))
	if err != nil {
		return nil, err
	}
	return evidence.ParsePrivateJWK([]byte(strings.TrimSpace(string(b))))
}

// Trust reads trust files, beside what is trusted already.
func Trust(t *bundle.Trust, files []string) (*bundle.Trust, error) {
	all := []*bundle.Trust{t}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		more, err := bundle.ParseTrust(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, more)
	}
	return bundle.JoinTrust(all...)
}

// everything permits all that the agent asks for: what holds it here is the handoff's
// scope, and its contract. Package runtime/policy has policies for more than that.
var everything = runtime.PermitterFunc(func(context.Context, *runtime.PermissionRequest) (runtime.Permission, error) {
	return runtime.Permission{Effect: evidence.Allow, Mode: evidence.Enforce, Policies: []string{"everything"}}, nil
})

// Runtime returns a runtime over the ledger, with one contract for all that its
// agents do; nil: none.
func (s *Side) Runtime(contract []byte, tools ...runtime.Tool) (*runtime.Runtime, error) {
	return runtime.New(runtime.Config{
		Ledger: runtime.Embedded{Ledger: s.Ledger}, Origin: s.meta.Origin, Actor: s.meta.Runtime, Key: s.Party.Key,
		Permit: everything, Tools: tools, Handoffs: s.Party.For,
		Contracts: func(string, []byte) (*runtime.Contract, error) {
			if contract == nil {
				return nil, nil
			}
			return &runtime.Contract{Document: contract, DeclaredBy: "operator"}, nil
		},
	})
}

// Close ends the ledger.
func (s *Side) Close() error { return errors.Join(s.Ledger.Close(), s.store.Close()) }
