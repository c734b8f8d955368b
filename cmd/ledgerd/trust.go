package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"ledgerd/bundle"
)

func init() {
	register(&cli.Command{
		Name:  "trust",
		Usage: "print what an auditor has to be given by a way that the operator does not control",
		Description: "Examples:\n" +
			"  # For verify\n" +
			"  ledgerd trust --data-dir data > trust.json\n" +
			"  # For a witness or another C2SP client\n" +
			"  ledgerd trust --format policy --data-dir data > log.policy",
		Flags: ledgerFlags(&cli.StringFlag{Name: "format", Value: "json", Usage: "a trust file, a C2SP tlog-policy, or the log's key: `json|policy|vkey`"}),
		Action: with(func(c *cli.Context, t *target) error {
			if err := args(c); err != nil {
				return err
			}
			var trust *bundle.Trust
			var err error
			if t.remote != nil {
				trust, err = t.remote.Trust(c.Context)
			} else {
				trust, err = t.local.Trust()
			}
			if err != nil {
				return err
			}
			policy := trust.Ledgers[0].Policy
			var out string
			switch c.String("format") {
			case "json":
				b, err := trust.Marshal()
				if err != nil {
					return err
				}
				out = string(b)
			case "policy":
				out = policy.String()
			case "vkey":
				out = policy.LogKey() + "\n"
			default:
				return usage("--format: want json, policy or vkey, found %q", c.String("format"))
			}
			_, err = fmt.Fprint(c.App.Writer, out)
			return err
		}),
	})
}
