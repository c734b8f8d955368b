package airline_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"ledgerd/audit"
	"ledgerd/audit/audittest"
	"ledgerd/evidence"
	"ledgerd/internal/raced"
)

// Customers, and what a look at them shows.
const (
	regular = `{"membership":"regular"}`
	silver  = `{"membership":"silver"}`
	gold    = `{"membership":"gold"}`
)

// reservation is one as the booking system shows it: a round trip of two with one
// connection, in economy, without insurance, booked weeks ago, with one bag. change
// takes the place of members.
func reservation(change string) string {
	if change != "" {
		change = "," + change
	}
	// Of two members of one name the last would count, and an audit refuses both:
	// so what is changed is left out before.
	all := []struct{ name, member string }{
		{`"reservation_id"`, `"reservation_id":"R1"`},
		{`"user_id"`, `"user_id":"mia"`},
		{`"flight_type"`, `"flight_type":"round_trip"`},
		{`"origin"`, `"origin":"JFK"`},
		{`"destination"`, `"destination":"SEA"`},
		{`"cabin"`, `"cabin":"economy"`},
		{`"flights":`, `"flights":[` + leg("JFK", "ORD", 1) + `,` + leg("ORD", "SEA", 2) + `,` + leg("SEA", "JFK", 3) + `]`},
		{`"passengers"`, `"passengers":[{"first_name":"Mia"},{"first_name":"Tom"}]`},
		{`"created_at"`, `"created_at":"2024-05-02T10:00:00"`},
		{`"insurance"`, `"insurance":"no"`},
		{`"total_baggages"`, `"total_baggages":1`},
	}
	text := ""
	for _, m := range all {
		if !strings.Contains(change, m.name) {
			text += "," + m.member
		}
	}
	return "{" + (text + change)[1:] + "}"
}

// leg is a flight of a reservation.
func leg(from, to string, n int) string {
	return fmt.Sprintf(`{"flight_number":"HAT00%d","date":"2024-05-2%[1]d","origin":%q,"destination":%q,"price":100}`, n, from, to)
}

func customer(is string) call { return call{"get_user_details", `{"user_id":"mia"}`, is} }

func looked(change string) call {
	return call{"get_reservation_details", `{"reservation_id":"R1"}`, reservation(change)}
}

func cancelled(change string) call {
	return call{"cancel_reservation", `{"reservation_id":"R1"}`, reservation(change)}
}

func booked(cabin, passengers, payments, bags string) call {
	return call{"book_reservation", `{"user_id":"mia","cabin":"` + cabin + `","passengers":` + passengers + `,"payment_methods":` + payments + `,` + bags + `}`, `{"reservation_id":"R2"}`}
}

// flown changes flights, or the cabin alone; paid by the card where by is "".
func flown(by, flights string) call {
	if by == "" {
		by = "credit_card_1"
	}
	return call{
		"update_reservation_flights", `{"reservation_id":"R1","cabin":"business","flights":[],"payment_id":"` + by + `"}`,
		reservation(`"flights":[` + flights + `]`),
	}
}

func bags(total string) call {
	return call{"update_reservation_baggages", `{"reservation_id":"R1","total_baggages":` + total + `,"nonfree_baggages":0,"payment_id":"gift_card_1"}`, `{}`}
}

func renamed(passengers string) call {
	return call{"update_reservation_passengers", `{"reservation_id":"R1","passengers":` + passengers + `}`, `{}`}
}

func compensated(amount string) call {
	return call{"send_certificate", `{"user_id":"mia","amount":` + amount + `}`, `"sent"`}
}

const (
	one   = `[{"first_name":"Mia"}]`
	two   = `[{"first_name":"Mia"},{"first_name":"Tom"}]`
	six   = `[1,2,3,4,5,6]`
	free1 = `"total_baggages":1,"nonfree_baggages":0`
	card  = `{"payment_id":"credit_card_1","amount":100}`
	gift  = `{"payment_id":"gift_card_1","amount":1}`
	cert  = `{"payment_id":"certificate_1","amount":1}`
)

// TestClauses: each clause of the standing contract finds what breaks the sentence
// of the policy beside it in README.md, and lets pass what keeps it.
func TestClauses(t *testing.T) {
	raced.Skip(t)
	contract := standingContract(t)
	same := leg("JFK", "ORD", 1) + `,` + leg("ORD", "SEA", 2) + `,` + leg("SEA", "JFK", 3)
	direct := leg("JFK", "SEA", 5) + `,` + leg("SEA", "JFK", 6)
	pay := func(methods string) []call { return []call{customer(regular), booked("economy", one, methods, free1)} }
	for _, c := range []struct {
		name   string
		calls  []call
		broken []string // parts of the contract
	}{
		{"nothing", nil, nil},
		{"looks only", []call{customer(gold), looked("")}, nil},

		{"cancel: business", []call{looked(""), cancelled(`"cabin":"business"`)}, nil},
		{"cancel: insured", []call{looked(""), cancelled(`"insurance":"yes"`)}, nil},
		{"cancel: within a day", []call{looked(""), cancelled(`"created_at":"2024-05-14T15:00:01"`)}, nil},
		{"cancel: today", []call{looked(""), cancelled(`"created_at":"2024-05-15T00:10:00"`)}, nil},
		{"cancel: a day and an hour ago", []call{looked(""), cancelled(`"created_at":"2024-05-14T14:59:59"`)}, []string{"/forbids/0"}},
		{"cancel: economy without insurance", []call{looked(""), cancelled("")}, []string{"/forbids/0"}},
		{"cancel: not looked at", []call{cancelled(`"cabin":"business"`)}, []string{"cancel_reservation"}},
		{"cancel: looked at another", []call{looked(`"reservation_id":"R9"`), cancelled(`"insurance":"yes"`)}, []string{"cancel_reservation"}},
		{"cancel: looked at too late", []call{cancelled(`"insurance":"yes"`), looked("")}, []string{"cancel_reservation"}},

		{"flights: others between the same", []call{looked(""), flown("", direct)}, nil},
		{"flights: one way", []call{looked(`"flight_type":"one_way","flights":[]`), flown("", leg("JFK", "DEN", 1)+`,`+leg("DEN", "SEA", 2))}, nil},
		{"flights: another destination", []call{looked(""), flown("", leg("JFK", "SFO", 5)+`,`+leg("SFO", "JFK", 6))}, []string{"update_reservation_flights"}},
		{"flights: another origin", []call{looked(`"flight_type":"one_way"`), flown("", leg("BOS", "SEA", 5))}, []string{"update_reservation_flights"}},
		{"flights: the way back dropped", []call{looked(""), flown("", leg("JFK", "SEA", 5))}, []string{"update_reservation_flights"}},
		{"flights: of basic economy", []call{looked(`"cabin":"basic_economy"`), flown("", direct)}, []string{"update_reservation_flights"}},
		{"cabin alone: of basic economy", []call{looked(`"cabin":"basic_economy"`), flown("", same)}, nil},
		{"cabin alone: a flight is dropped", []call{looked(`"cabin":"basic_economy"`), flown("", leg("JFK", "ORD", 1)+`,`+leg("ORD", "SEA", 2))}, []string{"update_reservation_flights"}},
		{"flights: not looked at", []call{flown("", direct)}, []string{"update_reservation_flights"}},
		{"flights: by gift card", []call{looked(""), flown("gift_card_1", direct)}, nil},
		{"flights: by certificate", []call{looked(""), flown("certificate_1", direct)}, []string{"/forbids/1"}},

		{"bags: one more", []call{looked(""), bags("2")}, nil},
		{"bags: as before", []call{looked(""), bags("1")}, nil},
		{"bags: removed", []call{looked(""), bags("0")}, []string{"update_reservation_baggages"}},
		{"bags: not looked at", []call{bags("2")}, []string{"update_reservation_baggages"}},
		{"passengers: other names", []call{looked(""), renamed(two)}, nil},
		{"passengers: one fewer", []call{looked(""), renamed(one)}, []string{"update_reservation_passengers"}},

		{"booking", []call{customer(regular), booked("economy", one, "["+card+"]", free1)}, nil},
		{"booking: nobody looked at the customer", []call{booked("economy", one, "["+card+"]", free1)}, []string{"/expects/0", "book_reservation"}},
		{"booking: looked too late", []call{booked("economy", one, "["+card+"]", free1), customer(regular)}, []string{"book_reservation"}},
		{"booking: six passengers", []call{customer(gold), booked("economy", six, "["+card+"]", free1)}, []string{"/forbids/2", "book_reservation"}},
		{"booking: a free bag too many", []call{customer(regular), booked("economy", one, "["+card+"]", `"total_baggages":2,"nonfree_baggages":0`)}, []string{"book_reservation"}},
		{"booking: a free bag is charged", []call{customer(silver), booked("economy", one, "["+card+"]", `"total_baggages":2,"nonfree_baggages":1`)}, []string{"book_reservation"}},
		{"booking: two free of a silver member", []call{customer(silver), booked("economy", one, "["+card+"]", `"total_baggages":2,"nonfree_baggages":0`)}, nil},
		{"booking: two passengers of a gold member, one bag extra", []call{customer(gold), booked("basic_economy", two, "["+card+"]", `"total_baggages":5,"nonfree_baggages":1`)}, nil},
		{"booking: basic economy, all bags paid", []call{customer(regular), booked("basic_economy", two, "["+card+"]", `"total_baggages":3,"nonfree_baggages":3`)}, nil},
		{"booking: one of each", pay("[" + cert + "," + card + "," + gift + "," + gift + "," + gift + "]"), nil},
		{"booking: six payments", pay("[" + gift + "," + gift + "," + gift + "," + cert + "," + card + "," + gift + "]"), []string{"/forbids/3"}},
		{"booking: two certificates", pay("[" + cert + "," + card + "," + cert + "]"), []string{"/forbids/4"}},
		{"booking: two credit cards", pay("[" + card + "," + card + "]"), []string{"/forbids/5"}},
		{"booking: four gift cards", pay("[" + gift + "," + gift + "," + gift + "," + gift + "]"), []string{"/forbids/6"}},

		{"certificate: 100 a passenger, silver", []call{customer(silver), looked(""), compensated("200")}, nil},
		{"certificate: 50 a passenger, insured", []call{customer(regular), looked(`"insurance":"yes"`), compensated("100")}, nil},
		{"certificate: business", []call{looked(`"cabin":"business"`), compensated("200")}, nil},
		{"certificate: another amount", []call{customer(gold), looked(""), compensated("150")}, []string{"send_certificate"}},
		{"certificate: regular, economy, uninsured", []call{customer(regular), looked(""), compensated("200")}, []string{"send_certificate"}},
		{"certificate: facts not looked at", []call{customer(gold), compensated("100")}, []string{"send_certificate"}},
		{"certificate: of another's reservation", []call{customer(gold), looked(`"user_id":"eve"`), compensated("200")}, []string{"send_certificate"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := audittest.New(t)
			run, _ := perform(w, c.calls)
			trial := try(t, contract, audit.NewRegistry(w.Origin, w.Placed[0].ID), w.Placed, run, w)
			if found := broken(t, trial, w.Placed); !slices.Equal(found, c.broken) {
				t.Errorf("want %v broken, found %v", c.broken, found)
			}
		})
	}
}

// TestCounts: what the contract spells out for each number of passengers and flights
// is what the policy reckons with. In a run of many actions, those that break a
// clause are the ones that nothing accounts for.
func TestCounts(t *testing.T) {
	raced.Skip(t)
	contract := standingContract(t)
	list := func(n int, one string) string { return "[" + strings.Join(slices.Repeat([]string{one}, n), ",") + "]" }
	person := `{"first_name":"Mia"}`
	free := map[string]map[string]int{
		"regular": {"basic_economy": 0, "economy": 1, "business": 2},
		"silver":  {"basic_economy": 1, "economy": 2, "business": 3},
		"gold":    {"basic_economy": 2, "economy": 3, "business": 3},
	}
	for n := 1; n <= 5; n++ {
		for membership, cabins := range free {
			m := many{calls: []call{customer(`{"membership":"` + membership + `"}`)}}
			for cabin, each := range cabins {
				for _, extra := range []int{-1, 0, 1, 2, 4} {
					total, due := n*each+extra, max(0, extra)
					for charged := max(0, due-1); charged <= due+1 && total >= 0; charged++ {
						keeps := charged == due || due > 1 && charged > 1 // from the second on, the number is left open
						m.add(keeps, booked(cabin, list(n, person), "["+card+"]", fmt.Sprintf(`"total_baggages":%d,"nonfree_baggages":%d`, total, charged)))
					}
				}
			}
			m.check(t, contract)
		}
		seen := looked(`"passengers":` + list(n, person))
		m := many{calls: []call{seen}}
		m.add(true, renamed(list(n, person)))
		m.add(false, renamed(list(n+1, person)))
		m.check(t, contract)
		for _, m := range []many{
			{calls: []call{customer(gold), seen}},
			{calls: []call{customer(regular), looked(`"insurance":"yes","passengers":` + list(n, person))}},
		} {
			for amount := 50; amount <= 600; amount += 50 {
				m.add(amount == 50*n || amount == 100*n, compensated(fmt.Sprint(amount)))
			}
			m.check(t, contract)
		}
	}
	for n := 1; n <= 4; n++ {
		var legs []string
		for i := range n {
			legs = append(legs, leg("JFK", "SEA", i+1))
		}
		m := many{calls: []call{looked(`"cabin":"basic_economy","flights":[` + strings.Join(legs, ",") + `]`)}}
		m.add(true, flown("", strings.Join(legs, ",")))
		for i := range n {
			other := slices.Clone(legs)
			other[i] = leg("JFK", "SEA", 9)
			m.add(false, flown("", strings.Join(other, ",")))
		}
		m.add(false, flown("", strings.Join(append(legs, leg("SEA", "JFK", 9)), ",")))
		m.check(t, contract)
	}
}

// many is a run of many actions, some of which break a clause.
type many struct {
	calls  []call
	breaks []call
}

func (m *many) add(keeps bool, c call) {
	m.calls = append(m.calls, c)
	if !keeps {
		m.breaks = append(m.breaks, c)
	}
}

func (m *many) check(t *testing.T, c *audit.Contract) {
	t.Helper()
	if found := unaccounted(t, c, m.calls); !slices.Equal(found, m.breaks) {
		t.Errorf("after %v: want %v to break it, found %v", m.calls[0], m.breaks, found)
	}
}

// unaccounted returns the calls that nothing in the contract accounts for, in order.
func unaccounted(t *testing.T, c *audit.Contract, calls []call) []call {
	t.Helper()
	w := audittest.New(t)
	run, done := perform(w, calls)
	trial := try(t, c, audit.NewRegistry(w.Origin, w.Placed[0].ID), w.Placed, run, w)
	var left []call
	for _, part := range trial.Parts {
		if part.Place == "/only" && part.Result != evidence.Supported {
			for i, id := range done {
				if slices.Contains(part.Records, id) {
					left = append(left, calls[i])
				}
			}
		}
	}
	return left
}

// perform has an agent make these calls, and returns their executions.
func perform(w *audittest.World, calls []call) (evidence.RunID, []evidence.ID) {
	r := w.Open(nil)
	var done []evidence.ID
	for _, call := range calls {
		done = append(done, r.Execute(r.Authorize(call.tool, call.input, nil), evidence.StatusSuccess, func(b *evidence.Execution) {
			out := w.Commit(call.output)
			b.Output = &out
		}).ID)
	}
	return r.ID, done
}

func standingContract(t *testing.T) *audit.Contract {
	t.Helper()
	b, err := os.ReadFile(task + ".json")
	if err != nil {
		t.Fatal(err)
	}
	c, err := audit.ParseContract(b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// try folds a run and says what each part of a contract says of it. g knows the
// registry, or learns it from the records.
func try(t *testing.T, c *audit.Contract, g *audit.Registry, records []evidence.Placed, id evidence.RunID, p audit.Payloads) *audit.Trial {
	t.Helper()
	run := audit.NewRun(g)
	for _, r := range records {
		u, err := evidence.Parse(r.Entry)
		if err != nil {
			t.Fatal(err)
		}
		rec, by, err := g.Check(r.Index, u)
		if err == nil && rec.Kind.Place() == evidence.Registry {
			err = g.Apply(r.Index, r.ID, rec)
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.Run == id {
			run.Apply(r.Index, r.ID, rec, by)
		}
	}
	trial, err := audit.Try(run, c, evidence.SourceImported, p)
	if err != nil {
		t.Fatal(err)
	}
	return trial
}

// broken names what of a contract a trial says is broken: the places of items, and
// for only the actions that nothing accounts for.
func broken(t *testing.T, trial *audit.Trial, records []evidence.Placed) []string {
	t.Helper()
	var places []string
	for _, part := range trial.Parts {
		switch {
		case part.Result == evidence.Supported:
		case part.Place != "/only":
			places = append(places, part.Place)
		default:
			var names []string
			for _, r := range records {
				if b, ok := r.Record.Body.(*evidence.Execution); ok && slices.Contains(part.Records, r.ID) {
					names = append(names, b.Action)
				}
			}
			slices.Sort(names)
			places = append(places, slices.Compact(names)...)
		}
	}
	if (len(places) == 0) != (trial.Result == evidence.Supported) {
		t.Errorf("%v broken, and the whole %s: %s", places, trial.Result, trial.Why)
	}
	return places
}
