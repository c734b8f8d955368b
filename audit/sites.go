package audit

import "ledgerd/evidence"

// A site is the run that is judged, or one on whose work it rests. Several
// bundles may show one run: the site is what the longest of them shows.
type site struct {
	run    *Run
	end    uint64 // records before this index are judged
	values *values
	n      int        // its place among all
	known  []sighting // from which record of this run on how much of another is known
}

// A sighting: at an index of its log, a run took up a bundle that shows another's
// records before upto.
type sighting struct {
	at   uint64
	of   int
	upto uint64
}

// maxSites is of how many runs the order among each other is worked out. Beyond,
// nothing that happened in one is shown to be after what happened in another.
const maxSites = 64

type siteKey struct {
	origin string
	run    evidence.RunID
}

// sites lists the run that is judged, first, and those on which it rests at any
// depth. whole is false where a bundle is withheld.
type sites struct {
	all   []*site
	whole bool
}

// survey lists the sites of a bench.
func (b *bench) survey() *sites {
	s := &sites{whole: true}
	at := map[siteKey]*site{{b.run.Origin, b.run.Run}: b.own}
	s.all = append(s.all, b.own)
	seen := make(map[*Run]bool)
	var visit func(r *Run, end uint64, v *values, opens func(ground) bool) *site
	visit = func(r *Run, end uint64, v *values, opens func(ground) bool) *site {
		key := siteKey{r.Origin, r.Run}
		x := at[key]
		if x == nil {
			x = &site{run: r, end: end, values: v, n: len(s.all)}
			at[key], s.all = x, append(s.all, x)
		} else if end > x.end {
			x.run, x.end, x.values = r, end, v
		}
		if seen[r] {
			return x
		}
		seen[r] = true
		for _, g := range r.grounds(end) {
			if !opens(g) {
				s.whole = false
				continue
			}
			o := g.offer
			giver := visit(o.Run(), o.Index, newValues(o.auditor.payloads), func(g ground) bool { return g.handed != nil && g.offer != nil })
			if giver != x {
				x.learn(sighting{g.index, giver.n, o.Index})
			}
		}
		return x
	}
	visit(b.run, b.asOf, b.values, b.opens)
	s.order()
	return s
}

// order carries on what sites know of each other: who takes up what another offered
// knows what that one knew by then.
func (s *sites) order() {
	if len(s.all) > maxSites {
		for _, x := range s.all {
			x.known = nil
		}
		return
	}
	for again := true; again; {
		again = false
		for _, x := range s.all {
			for _, k := range x.known {
				for _, l := range s.all[k.of].known {
					if l.at < k.upto && l.of != x.n {
						again = x.learn(sighting{k.at, l.of, l.upto}) || again
					}
				}
			}
		}
	}
}

// learn notes a sighting, and reports whether it says anything new.
func (x *site) learn(k sighting) bool {
	for _, o := range x.known {
		if o.of == k.of && o.at <= k.at && o.upto >= k.upto {
			return false
		}
	}
	x.known = append(x.known, k)
	return true
}

// horizon returns the index in of's log before which everything is shown to have
// been done before the record of x at that index. No clock says so, for each ledger
// has its own: a record comes after what its run had taken up by then, and that
// after what its giver had.
func (x *site) horizon(index uint64, of int) uint64 {
	if x.n == of {
		return index
	}
	upto := uint64(0)
	for _, k := range x.known {
		if k.of == of && k.at < index {
			upto = max(upto, k.upto)
		}
	}
	return upto
}
