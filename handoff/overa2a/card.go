package overa2a

import (
	"fmt"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/go-json-experiment/json"

	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/handoff"
)

// params are those of the extension on an agent's card.
type params struct {
	Receiver evidence.Recipient `json:"receiver"`
}

// Extension declares the extension on the card of the agent that a party receives
// for: it is required, and says for whom offers have to be.
func Extension(p *handoff.Party) a2a.AgentExtension {
	to := p.Receiver()
	return a2a.AgentExtension{
		URI: URI, Required: true,
		Description: "Work is handed over on evidence: a message that begins a task carries the bundle about an offer, and is refused unless it verifies.",
		Params:      map[string]any{"receiver": map[string]any{"origin": to.Origin, "actor": to.Actor, "key": to.Key.String()}},
	}
}

// ReceiverOf returns for whom an agent's card says that offers have to be. A card is
// anybody's word: a receiver whose ledger the trust file does not name is an error,
// for an offer shows it the giver's run, and its acceptance could not be verified.
func ReceiverOf(card *a2a.AgentCard, trust *bundle.Trust) (to evidence.Recipient, err error) {
	for _, x := range card.Capabilities.Extensions {
		if x.URI != URI {
			continue
		}
		b, err := json.Marshal(x.Params)
		if err != nil {
			return to, fmt.Errorf("a2a: the card's params of %s: %w", URI, err)
		}
		var p params
		if err := json.Unmarshal(b, &p); err != nil {
			return to, fmt.Errorf("a2a: the card's params of %s: %s", URI, visible(err.Error()))
		}
		if to = p.Receiver; to.Origin == "" || to.Actor == "" || to.Key == (evidence.Digest{}) {
			return evidence.Recipient{}, fmt.Errorf("a2a: the card's params of %s: want a receiver with origin, actor and key", URI)
		}
		if trust.Ledger(to.Origin) == nil {
			return evidence.Recipient{}, fmt.Errorf("a2a: want a receiver whose ledger the trust file names, found %s", visible(to.Origin))
		}
		return to, nil
	}
	return to, fmt.Errorf("a2a: want an agent that takes work over on evidence (%s), found %s, which does not say so", URI, visible(card.Name))
}
