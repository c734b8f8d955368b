package main

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"ledgerd/bundle"
	"ledgerd/internal/report"
)

func trustCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:      "trust",
		Usage:     "say what a trust file says",
		UsageText: "verify trust show --trust FILE [--output text|json]",
		Description: "Examples:\n" +
			"  # Whom would verify believe with this file?\n" +
			"  verify trust show --trust trust.json",
		HideHelpCommand: true,
		Action: func(c *cli.Context) error {
			return usagef("expected: verify trust show, found %q", strings.Join(c.Args().Slice(), " "))
		},
		OnUsageError: badUsage,
		Subcommands: []*cli.Command{{
			Name:      "show",
			Usage:     "whom the trust file trusts: ledgers, keys, witnesses and their quorum, pinned actors",
			ArgsUsage: "[FILE]...",
			UsageText: "verify trust show [--trust FILE]... [--output text|json] [FILE]...",
			Description: "Compare the keys that it shows with what their owners say, on another way than the file came.\n\n" +
				"Examples:\n" +
				"  # Whom would verify believe with this file?\n" +
				"  verify trust show --trust trust.json\n" +
				"  # For a program, of several files together\n" +
				"  verify trust show --output json trust.json partner.json",
			HideHelpCommand: true,
			Flags:           []cli.Flag{trustFlag(), answerFlag(), quietFlag()},
			Action:          func(c *cli.Context) error { return showTrust(c, std) },
			OnUsageError:    badUsage,
		}},
	}
}

// shownTrust is what a trust file says, in members that need no parsing.
type shownTrust struct {
	Version string        `json:"trusted"` // "v1"
	Digest  string        `json:"digest"`  // as verdicts name it
	Ledgers []shownLedger `json:"ledgers"`
}

type shownLedger struct {
	Origin    string         `json:"origin"`
	LogKey    shownKey       `json:"log_key"`
	Entry0    string         `json:"entry0"`
	Witnesses []shownWitness `json:"witnesses,omitempty"`
	Groups    []shownGroup   `json:"groups,omitempty"`
	Quorum    shownQuorum    `json:"quorum"`
	Actors    []shownActor   `json:"actors,omitempty"`
	Weakest   string         `json:"weakest_source,omitempty"`
}

type shownKey struct {
	Key    string `json:"key"`    // verifier key: name+hash+key
	Hash   string `json:"hash"`   // the key ID in it
	SHA256 string `json:"sha256"` // of the public key's bytes, hexadecimal
}

type shownWitness struct {
	Name string `json:"name"`
	shownKey
}

type shownGroup struct {
	Name    string   `json:"name"`
	Needs   int      `json:"needs"` // how many of its members
	Members []string `json:"members"`
}

type shownQuorum struct {
	Name  string `json:"name"` // of a witness or group; none
	Words string `json:"words"`
}

type shownActor struct {
	Name  string `json:"name"`
	Role  string `json:"role"`
	KeyID string `json:"kid"` // RFC 7638 thumbprint, as records name it
}

func showTrust(c *cli.Context, std stdio) error {
	form := c.String("output")
	if form != "text" && form != "json" {
		return usagef("expected --output text or json, found %q: a trust file is shown, and not judged", form)
	}
	trust, err := trustToShow(c)
	if err != nil {
		return err
	}
	digest, err := trust.Digest()
	if err != nil {
		return err
	}
	shown := shownTrust{Version: "v1", Digest: digest.String()}
	for _, l := range trust.Ledgers {
		shown.Ledgers = append(shown.Ledgers, showLedger(l))
	}
	if form == "json" {
		return report.JSONLine(std.out, &shown)
	}
	_, err = io.WriteString(std.out, shown.text(c.Bool("quiet")))
	return err
}

// trustToShow reads the trust files in the arguments, or those that --trust names.
func trustToShow(c *cli.Context) (*bundle.Trust, error) {
	if c.NArg() == 0 {
		return readTrust(c)
	}
	if err := readOnce(c.Args().Slice()); err != nil {
		return nil, err
	}
	return joinTrust(c.Args().Slice(), func(name string) ([]byte, error) { return readInput(c, name, bundle.MaxTrust) })
}

func showLedger(l *bundle.TrustedLedger) shownLedger {
	out := shownLedger{Origin: l.Origin(), LogKey: showKey(l.Policy.LogKey()), Entry0: l.Entry0.String(), Weakest: string(l.WeakestSource)}
	// The policy was parsed; its lines have the form that they have to have.
	for line := range strings.SplitSeq(l.Policy.String(), "\n") {
		f := strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
		switch {
		case len(f) == 0:
		case f[0] == "witness":
			out.Witnesses = append(out.Witnesses, shownWitness{f[1], showKey(f[2])})
		case f[0] == "group":
			g := shownGroup{Name: f[1], Members: f[3:]}
			switch f[2] {
			case "any":
				g.Needs = 1
			case "all":
				g.Needs = len(g.Members)
			default:
				_, _ = fmt.Sscan(f[2], &g.Needs)
			}
			out.Groups = append(out.Groups, g)
		case f[0] == "quorum":
			out.Quorum.Name = f[1]
		}
	}
	out.Quorum.Words = out.words(out.Quorum.Name)
	for _, a := range l.Actors {
		out.Actors = append(out.Actors, shownActor{a.Name, string(a.Role), a.Key.Thumbprint().String()})
	}
	return out
}

// showKey takes a verifier key apart: name+hash+base64(type ‖ key).
func showKey(vkey string) shownKey {
	parts := strings.SplitN(vkey, "+", 3)
	k := shownKey{Key: vkey, Hash: parts[1]}
	if b, err := base64.StdEncoding.DecodeString(parts[2]); err == nil && len(b) > 1 {
		k.SHA256 = fmt.Sprintf("%x", sha256.Sum256(b[1:]))
	}
	return k
}

// words says what a quorum asks for, in words. A name is a member of one group at
// most, so that this ends, and is no longer than the policy.
func (l *shownLedger) words(name string) string {
	if name == "none" {
		return "no witness: the log's own word is enough"
	}
	for _, g := range l.Groups {
		if g.Name != name {
			continue
		}
		var members []string
		for _, m := range g.Members {
			members = append(members, l.words(m))
		}
		list := strings.Join(members, ", ")
		switch {
		case len(members) == 1:
			return members[0]
		case g.Needs == len(members):
			return "all of (" + list + ")"
		case g.Needs == 1:
			return "any of (" + list + ")"
		}
		return fmt.Sprintf("%d of (%s)", g.Needs, list)
	}
	return name
}

// text shows it to people, whatever the file holds.
func (s *shownTrust) text(quiet bool) string {
	var b strings.Builder
	field := func(name, value string) { fmt.Fprintf(&b, "  %-12s%s\n", name, report.Visible(value)) }
	fmt.Fprintf(&b, "TRUSTED  %s\n", report.Count(len(s.Ledgers), "ledger"))
	if quiet {
		return b.String()
	}
	field("digest", s.Digest)
	for _, l := range s.Ledgers {
		fmt.Fprintf(&b, "\n%s\n", report.Visible(l.Origin))
		field("log key", l.LogKey.Key)
		field("key hash", l.LogKey.Hash+", SHA-256 "+l.LogKey.SHA256)
		field("entry 0", l.Entry0)
		field("quorum", l.Quorum.Words)
		for _, w := range l.Witnesses {
			field("witness", w.Name+": hash "+w.Hash+", SHA-256 "+w.SHA256)
		}
		for _, g := range l.Groups {
			field("group", fmt.Sprintf("%s: %d of %s", g.Name, g.Needs, strings.Join(g.Members, ", ")))
		}
		for _, a := range l.Actors {
			field("pinned", fmt.Sprintf("%s (%s): key %s", a.Name, a.Role, a.KeyID))
		}
		if len(l.Actors) == 0 {
			field("pinned", "nobody: the ledger's root says whose keys are whose")
		}
		if l.Weakest != "" {
			field("sources", "at least "+l.Weakest)
		} else {
			field("sources", "as each contract says")
		}
	}
	return b.String()
}
