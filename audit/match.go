package audit

// A graph is which items could account for which expectations: each item for
// one at most, each expectation for as many as its capacity.
type graph struct {
	capacity []int     // of each expectation
	edges    [][]int32 // of each expectation: items
	items    int
}

// A matching assigns items to expectations, as many as can be at once
// (Hopcroft and Karp, with capacities on one side).
type matching struct {
	*graph
	of   []int32 // of each item: its expectation, -1 for none
	load []int   // of each expectation
	size int
	dist []int32
	next []int
}

func (g *graph) match() *matching {
	m := &matching{graph: g, of: make([]int32, g.items), load: make([]int, len(g.capacity)), dist: make([]int32, len(g.capacity)), next: make([]int, len(g.capacity))}
	for i := range m.of {
		m.of[i] = -1
	}
	for m.layer() {
		clear(m.next)
		for e := range g.capacity {
			for m.load[e] < g.capacity[e] && m.augment(int32(e)) {
				m.load[e]++
				m.size++
			}
		}
	}
	return m
}

// layer numbers the expectations by their distance from one with room, and
// reports whether a free item can be reached.
func (m *matching) layer() bool {
	var queue []int32
	for e := range m.dist {
		m.dist[e] = -1
		if m.load[e] < m.capacity[e] {
			m.dist[e] = 0
			queue = append(queue, int32(e))
		}
	}
	free := false
	for ; len(queue) > 0; queue = queue[1:] {
		e := queue[0]
		for _, v := range m.edges[e] {
			switch other := m.of[v]; {
			case other < 0:
				free = true
			case m.dist[other] < 0:
				m.dist[other] = m.dist[e] + 1
				queue = append(queue, other)
			}
		}
	}
	return free
}

// augment finds one more item for e, moving others along shortest paths.
func (m *matching) augment(e int32) bool {
	for ; m.next[e] < len(m.edges[e]); m.next[e]++ {
		v := m.edges[e][m.next[e]]
		other := m.of[v]
		if other == e || other >= 0 && (m.dist[other] != m.dist[e]+1 || !m.augment(other)) {
			continue
		}
		m.of[v] = e
		m.next[e]++
		return true
	}
	return false
}

// full reports whether every expectation has all the items it asks for.
func (m *matching) full() bool {
	for e := range m.capacity {
		if m.load[e] < m.capacity[e] {
			return false
		}
	}
	return true
}

// short returns the expectations that some largest matching leaves without all
// their items: whichever is found, the set is one (Dulmage and Mendelsohn).
func (m *matching) short() map[int]bool {
	reached := make(map[int]bool)
	var queue []int
	for e := range m.capacity {
		if m.load[e] < m.capacity[e] {
			reached[e] = true
			queue = append(queue, e)
		}
	}
	for ; len(queue) > 0; queue = queue[1:] {
		for _, v := range m.edges[queue[0]] {
			if e := int(m.of[v]); e >= 0 && !reached[e] {
				reached[e] = true
				queue = append(queue, e)
			}
		}
	}
	return reached
}

// unaccounted returns the items that some largest matching assigns to no
// expectation.
func (m *matching) unaccounted() map[int]bool {
	ofItem := make([][]int32, m.items)
	held := make([][]int32, len(m.capacity))
	for e, items := range m.edges {
		for _, v := range items {
			ofItem[v] = append(ofItem[v], int32(e))
		}
	}
	left := make(map[int]bool)
	var queue []int
	for v, e := range m.of {
		if e >= 0 {
			held[e] = append(held[e], int32(v))
			continue
		}
		left[v] = true
		queue = append(queue, v)
	}
	for ; len(queue) > 0; queue = queue[1:] {
		for _, e := range ofItem[queue[0]] {
			for _, v := range held[e] {
				if !left[int(v)] {
					left[int(v)] = true
					queue = append(queue, int(v))
				}
			}
		}
	}
	return left
}
