package audit

import (
	"encoding/base64"
	"strings"

	"ledgerd/bundle"
	"ledgerd/evidence"
)

// reserve keeps the log's and the witnesses' keys from being actors' keys.
func reserve(g *Registry, l *bundle.TrustedLedger) {
	for line := range strings.SplitSeq(l.Policy.String(), "\n") {
		f := strings.Fields(line)
		switch {
		case len(f) >= 2 && f[0] == "log":
			reserveKey(g, f[1], "log")
		case len(f) >= 3 && f[0] == "witness":
			reserveKey(g, f[2], "witness "+f[1])
		}
	}
}

// reserveKey reads the key bytes of a verifier key, "name+hash+base64(type ‖
// key)" (https://c2sp.org/signed-note). Keys that are not Ed25519 cannot be an
// actor's.
func reserveKey(g *Registry, vkey, what string) {
	_, rest, _ := strings.Cut(vkey, "+")
	_, text, _ := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != 1+32 {
		return
	}
	if k, err := evidence.NewPublicKey(raw[1:]); err == nil {
		g.Reserve(k, what)
	}
}
